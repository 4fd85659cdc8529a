"""Whose results these are: the folder a set lives in, its licence, citation, repository and commit.

The root of a set is the nearest folder above a file that holds a licence, a CITATION.cff or a .git; without
any of them, the folder that is imported. Paths and the source's name are counted from there, so that
importing a part of a set first and the whole later meets the same files under the same names.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archive.errors import UsageError
from archive.records import MEASURED_HERE, Source

NONE_FOUND = "none found"
_MAX_LEVELS = 8
_LICENCE_NAMES = re.compile(r"^(licen[cs]e|copying|unlicense)([-.].*)?$", re.IGNORECASE)
# phrases of the licence texts themselves: a file that quotes two licences names both
_LICENCES = (
    ("Apache-2.0", r"Apache License,?\s+Version 2\.0"),
    ("MIT", r"Permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("BSD", r"Redistribution and use in source and binary forms"),
    ("AGPL-3.0", r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3"),
    ("GPL-3.0", r"GNU GENERAL PUBLIC LICENSE\s+Version 3"),
    ("GPL-2.0", r"GNU GENERAL PUBLIC LICENSE\s+Version 2"),
    ("LGPL", r"GNU LESSER GENERAL PUBLIC LICENSE"),
    ("MPL-2.0", r"Mozilla Public License Version 2\.0"),
    ("CC-BY-NC", r"Attribution-NonCommercial|CC[- ]BY[- ]NC"),
    ("CC-BY-SA", r"Attribution-ShareAlike|CC[- ]BY[- ]SA"),
    ("CC-BY-4.0", r"Attribution 4\.0 International|CC[- ]BY[- ]4\.0"),
    ("CC0-1.0", r"CC0 1\.0 Universal"),
    ("ODC-BY-1.0", r"Open Data Commons Attribution"),
    ("Unlicense", r"free and unencumbered software released into the public domain"),
)


@dataclass(frozen=True)
class Attribution:
    """What the person importing says of the source; empty fields are looked for beside the files."""

    name: str = ""
    repository: str = ""
    commit: str = ""
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True)
class SourceSet:
    """A source and the folder its files are named from; `found` = the folder says itself what it is."""

    source: Source
    root: Path
    found: bool


class SourceFinder:
    """Assigns files to sources; asks every folder once."""

    def __init__(self, imported: Path, given: Attribution) -> None:
        """`imported` is the file or folder named on the command line, absolute."""
        self.base = imported if imported.is_dir() else imported.parent
        self.given = given
        self._roots: dict[Path, Path | None] = {}
        self._sets: dict[Path, SourceSet] = {}

    def of(self, file: Path) -> SourceSet:
        """The set a file belongs to."""
        # a name given by hand means one set, whatever licences lie below the imported folder
        folder = self.base if self.given.name else file.parent
        if folder not in self._roots:
            self._roots[folder] = next((f for f in _upwards(folder) if _says_what_it_is(f)), None)
        found = self._roots[folder]
        root = found or self.base
        if root not in self._sets:
            self._sets[root] = SourceSet(describe(root, self.given), root, found is not None)
        return self._sets[root]


def refuse_reserved_name(name: str) -> None:
    """Raise UsageError for the name that stands for numbers measured by pathscope itself."""
    if name == MEASURED_HERE.name:
        raise UsageError(
            f"source {name!r} stands for what is measured here; give these results another name: --source-name NAME."
        )


def _upwards(folder: Path) -> Iterator[Path]:
    """The folder and those above it, not further than a repository, a home or the file system's root."""
    home = Path("~").expanduser() if "HOME" in os.environ else None
    for level in (folder, *folder.parents)[:_MAX_LEVELS]:
        if level == home or level == level.parent:
            return
        yield level
        if (level / ".git").exists():
            return


def _says_what_it_is(folder: Path) -> bool:
    return (folder / "CITATION.cff").is_file() or (folder / ".git").exists() or bool(_licence_file(folder))


def describe(root: Path, given: Attribution) -> Source:
    """The source at `root`: what was given by hand first, then what its files say."""
    licence, licence_from = _licence(root)
    citation = _citation(root / "CITATION.cff")
    repository, commit = _repository(root)
    from_files = [
        n for n, used in ((licence_from, not given.licence), ("CITATION.cff", not given.citation)) if used
    ]
    read = [n for n in from_files if n and (root / n).is_file()]
    return Source(
        name=given.name or root.name or "root",
        repository=given.repository or repository,
        commit_hash=given.commit or commit,
        licence=given.licence or licence,
        citation=given.citation or citation,
        note=f"read from {' and '.join(read)} in {root.name}/" if read else "",
    )


def _licence_file(folder: Path) -> Path | None:
    try:
        return min(
            (p for p in folder.iterdir() if _LICENCE_NAMES.match(p.name) and p.is_file()), default=None
        )
    except OSError:
        return None


def _licence(root: Path) -> tuple[str, str]:
    """(licence, the file it is from). Several licences in one file are all named: which holds is not ours to say."""
    file = _licence_file(root)
    if file is not None:
        text = _read(file)
        names = [name for name, pattern in _LICENCES if re.search(pattern, text)]
        if names:
            return " and ".join(names) + (f" (both in {file.name})" if len(names) > 1 else ""), file.name
        return f"see {file.name}: {next(iter(text.split(chr(10))), '').strip()[:100]}", file.name
    stated = _cff_field(_read(root / "CITATION.cff"), "license")
    return (stated, "CITATION.cff") if stated else (NONE_FOUND, "")


def _citation(file: Path) -> str:
    """Authors, year, title and DOI of a CITATION.cff; 'none found' without one."""
    text = _read(file)
    title = _cff_field(text, "title")
    if not title:
        return NONE_FOUND
    families = re.findall(r"^\s*-?\s*family-names:\s*(.+)$", text, re.MULTILINE)
    givens = re.findall(r"^\s*-?\s*given-names:\s*(.+)$", text, re.MULTILINE)
    if len(givens) != len(families):
        givens = [""] * len(families)
    authors = "; ".join(
        ", ".join(part for part in (_plain(family), _plain(name)) if part)
        for family, name in zip(families, givens, strict=True)
    )
    year = _cff_field(text, "date-released")[:4]
    doi = _cff_field(text, "doi")
    head = " ".join(part for part in (authors, f"({year})" if year else "") if part)
    return f"{head}{'. ' if head else ''}{title}." + (f" doi:{doi}" if doi else "")


def _cff_field(text: str, name: str) -> str:
    """A top-level text of a CITATION.cff, on its line or folded below it. Enough YAML for that file format."""
    match = re.search(rf"^{name}:[ \t]*(.*)((?:\n[ \t]+\S.*)*)", text, re.MULTILINE)
    if not match:
        return ""
    first = re.sub(r"^[>|][+-]?$", "", match.group(1).strip())
    return _plain(" ".join([first, *match.group(2).split()]).strip())


def _plain(text: str) -> str:
    return text.strip().strip("'\"")


def _repository(root: Path) -> tuple[str, str]:
    """(address, commit) of the clone at `root`, else the address its CITATION.cff gives."""
    git = root / ".git"
    remote = re.search(r'\[remote "origin"\][^\[]*?url\s*=\s*(\S+)', _read(git / "config"))
    # an address may carry a password or token: it must not end up in an archive
    address = re.sub(r"(?<=//)[^/@]*@", "", remote.group(1)) if remote else ""
    address = address or _cff_field(_read(root / "CITATION.cff"), "repository-code")
    head = _read(git / "HEAD").strip()
    if head.startswith("ref: "):
        name = head[5:]
        packed = re.search(
            rf"^([0-9a-f]{{40,64}}) {re.escape(name)}$", _read(git / "packed-refs"), re.MULTILINE
        )
        head = _read(git / name).strip() or (packed.group(1) if packed else "")
    return address, head if re.fullmatch(r"[0-9a-f]{40,64}", head) else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        return ""
