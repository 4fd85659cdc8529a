"""Whose results they are: found beside the files, never invented, and the same from every folder."""

from pathlib import Path

import pytest

from ingest.importers.sources import NONE_FOUND, Attribution, SourceFinder, describe
from tests.ingest.importers.making import write

MIT = "MIT License\n\nCopyright (c) 2026\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\n"
APACHE = (
    "                                 Apache License\n                           Version 2.0, January 2004\n"
)
CFF = """cff-version: 1.2.0
title: >-
  Norm growth is a byproduct,
  not the cause
authors:
  - given-names: Ada
    family-names: Lovelace
  - family-names: 'Babbage'
    given-names: Charles
license: CC-BY-4.0
repository-code: "https://example.org/set"
date-released: '2026-06-29'
doi: 10.5281/zenodo.1
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_part_and_the_whole_of_a_set_have_one_root(tmp_path: Path) -> None:
    deep = write(tmp_path / "pythia" / "evals" / "70m" / "x.json", "{}")
    write(tmp_path / "pythia" / "LICENSE", APACHE)

    roots = {SourceFinder(p, Attribution()).of(deep).root for p in (tmp_path / "pythia", deep.parent, deep)}
    found = SourceFinder(deep, Attribution()).of(deep)

    assert roots == {tmp_path / "pythia"}
    assert found.found
    assert (found.source.name, found.source.licence) == ("pythia", "Apache-2.0")
    assert found.source.note == "read from LICENSE in pythia/"


def test_without_a_licence_the_imported_folder_is_the_set_and_nothing_is_made_up(tmp_path: Path) -> None:
    file = write(tmp_path / "scores" / "deep" / "x.csv", "")

    found = SourceFinder(tmp_path / "scores", Attribution()).of(file)

    assert (found.root, found.found) == (tmp_path / "scores", False)
    assert (found.source.name, found.source.licence, found.source.citation) == (
        "scores",
        NONE_FOUND,
        NONE_FOUND,
    )
    assert (found.source.repository, found.source.commit_hash, found.source.note) == ("", "", "")


def test_sets_side_by_side_keep_their_own_licences(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a" / "x.json", ""), write(tmp_path / "b" / "x.json", "")
    write(tmp_path / "a" / "LICENSE.txt", MIT)
    write(tmp_path / "b" / "COPYING", APACHE)
    finder = SourceFinder(tmp_path, Attribution())

    assert [(s.source.name, s.source.licence) for s in (finder.of(a), finder.of(b))] == [
        ("a", "MIT"),
        ("b", "Apache-2.0"),
    ]


def test_a_name_given_by_hand_makes_one_set_of_everything(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a" / "x.json", ""), write(tmp_path / "b" / "x.json", "")
    write(tmp_path / "a" / "LICENSE", MIT)
    finder = SourceFinder(tmp_path, Attribution(name="mine", licence="ours"))

    assert {(finder.of(f).source.name, finder.of(f).source.licence) for f in (a, b)} == {("mine", "ours")}
    assert finder.of(a).root == finder.of(b).root == tmp_path


def test_the_search_ends_at_a_repository_and_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "LICENSE", MIT)
    inside = write(tmp_path / "clone" / "results" / "x.json", "")
    (tmp_path / "clone" / ".git").mkdir()
    at_home = write(tmp_path / "home" / "results" / "x.json", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert SourceFinder(inside, Attribution()).of(inside).root == tmp_path / "clone"
    assert SourceFinder(inside, Attribution()).of(inside).source.licence == NONE_FOUND
    assert SourceFinder(at_home.parent, Attribution()).of(at_home).root == at_home.parent


def test_a_file_with_two_licences_names_both(tmp_path: Path) -> None:
    write(
        tmp_path / "LICENSE",
        MIT + "\nThe DATA are released under the Creative Commons Attribution 4.0 International license",
    )

    assert describe(tmp_path, Attribution()).licence == "MIT and CC-BY-4.0 (both in LICENSE)"


def test_an_unknown_licence_is_quoted_not_judged(tmp_path: Path) -> None:
    write(tmp_path / "LICENSE", "The Do As You Please Licence\nmore")

    assert describe(tmp_path, Attribution()).licence == "see LICENSE: The Do As You Please Licence"


def test_a_citation_file_gives_citation_address_and_the_licence_of_last_resort(tmp_path: Path) -> None:
    write(tmp_path / "CITATION.cff", CFF)

    source = describe(tmp_path, Attribution())

    assert source.citation == (
        "Lovelace, Ada; Babbage, Charles (2026). Norm growth is a byproduct, not the cause. doi:10.5281/zenodo.1"
    )
    assert source.licence == "CC-BY-4.0"
    assert source.repository == "https://example.org/set"


@pytest.mark.parametrize("packed", [False, True])
def test_a_clone_gives_address_and_commit_without_its_secrets(tmp_path: Path, packed: bool) -> None:
    remote = "https://user:secret@example.org/a/b.git"
    write(tmp_path / ".git" / "config", f'[core]\n\tbare = false\n[remote "origin"]\n\turl = {remote}\n')
    write(tmp_path / ".git" / "HEAD", "ref: refs/heads/main\n")
    if packed:
        write(tmp_path / ".git" / "packed-refs", f"# pack-refs\n{COMMIT} refs/heads/main\n")
    else:
        write(tmp_path / ".git" / "refs" / "heads" / "main", COMMIT + "\n")

    source = describe(tmp_path, Attribution())

    assert (source.repository, source.commit_hash) == ("https://example.org/a/b.git", COMMIT)


def test_what_is_given_by_hand_wins(tmp_path: Path) -> None:
    write(tmp_path / "LICENSE", MIT)
    write(tmp_path / "CITATION.cff", CFF)
    given = Attribution(name="n", repository="r", commit="c", licence="l", citation="s")

    source = describe(tmp_path, given)

    assert (source.name, source.repository, source.commit_hash, source.licence, source.citation) == tuple(
        "nrcls"
    )
    assert source.note == ""
