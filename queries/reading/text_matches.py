"""Where a token or a text stands in an eval set, and what to ask instead where it stands nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive

By = Literal["token", "text"]

LONGEST = 200  # characters: more is a slip, and every character costs time in every document
BLANK = " \t\n\r\v\f\u00a0"
N_NEAREST = 8
# share of letters in place, by edits and exchanges of neighbours: below it nobody meant that token
ALIKE = 0.4
N_DOCUMENTS = 50  # with the place of their first match; all are counted
AROUND = 12  # tokens either side of it

Text = Annotated[
    str,
    Field(description="the token or text searched for, letter by letter; empty: the token found most often"),
]
SameCase = Annotated[bool, Field(description="capitals and small letters differ")]

# Tokens compare without the white space around them unless the text asked for has some. Both are data, never patterns.
WANTED = """\
eval AS (SELECT id, tokenizer_id, text_set_id FROM encoding WHERE id = $encoding_id),
words AS (
  SELECT token_id, text, special FROM content_vocab WHERE tokenizer_id = (SELECT tokenizer_id FROM eval)
), wanted AS (
  SELECT token_id FROM words
  WHERE CASE WHEN $text = trim($text, $blank) THEN trim(text, $blank) ELSE text END = $text
     OR (NOT $same_case AND lower(CASE WHEN $text = trim($text, $blank) THEN trim(text, $blank) ELSE text END) = lower($text))
)"""

_SEQUENCES = """,
sequences AS (
  SELECT sequence, CASE WHEN document >= 0 THEN document ELSE -2 - sequence END AS document, token_ids
  FROM content_sequence WHERE encoding_id = (SELECT id FROM eval)
), tokens AS (
  SELECT sequence, unnest(token_ids) AS token_id, generate_subscripts(token_ids, 1) - 1 AS position FROM sequences
)"""

_TOKEN = """,
starts AS (SELECT sequence, position FROM tokens WHERE token_id IN (SELECT token_id FROM wanted))"""

# A sequence is its tokens' texts one after the other, special ones without letters. Occurrences are counted from left to
# right without overlap: the pieces between them say where each begins.
_TEXT = """,
spelled AS (
  SELECT t.sequence, t.position, CASE WHEN w.special THEN '' ELSE coalesce(w.text, chr(65533)) END AS text
  FROM tokens t LEFT JOIN words w ON w.token_id = t.token_id
), placed AS (
  SELECT sequence, position, length(text) AS n, (sum(length(text)) OVER (PARTITION BY sequence ORDER BY position))::BIGINT AS past
  FROM spelled
), whole AS (
  SELECT sequence, string_agg(text, '' ORDER BY position) AS letters FROM spelled GROUP BY sequence
), cut AS (
  SELECT sequence, string_split(CASE WHEN $same_case THEN letters ELSE lower(letters) END,
                                CASE WHEN $same_case THEN $text ELSE lower($text) END) AS pieces
  FROM whole
), apart AS (
  SELECT sequence, unnest(pieces) AS piece, generate_subscripts(pieces, 1) AS k, len(pieces) AS n_pieces
  FROM cut WHERE len(pieces) > 1
), occurrences AS (
  SELECT sequence, k, n_pieces,
         (sum(length(piece)) OVER (PARTITION BY sequence ORDER BY k) + (k - 1) * length($text))::BIGINT AS first
  FROM apart
), starts AS (
  SELECT DISTINCT p.sequence, p.position
  FROM placed p JOIN occurrences o ON o.sequence = p.sequence AND o.k < o.n_pieces
  WHERE p.n > 0 AND p.past > o.first AND p.past - p.n < o.first + length($text)
)"""

_MATCHED = """,
sizes AS (SELECT sequence, document, len(token_ids) AS n_tokens FROM sequences),
matched AS MATERIALIZED (
  SELECT DISTINCT r.sequence, r.position
  FROM (SELECT sequence, unnest(range(position, position + $within + 1)) AS position FROM starts) r
  JOIN sizes z ON z.sequence = r.sequence AND r.position < z.n_tokens
), counted AS (
  SELECT z.document, sum(z.n_tokens)::BIGINT AS n_tokens, coalesce(sum(m.n), 0)::BIGINT AS n_places
  FROM sizes z LEFT JOIN (SELECT sequence, count(*) AS n FROM matched GROUP BY sequence) m ON m.sequence = z.sequence
  GROUP BY z.document
)"""

_HITS = """
, total AS (
  SELECT sum(n_tokens)::BIGINT AS all_tokens, sum(n_places)::BIGINT AS all_places, count(*) AS all_documents,
         count(*) FILTER (n_places > 0) AS all_with
  FROM counted
), best AS (
  SELECT document, n_tokens, n_places FROM counted WHERE n_places > 0 ORDER BY n_places DESC, document LIMIT $n_documents
), firsts AS (
  SELECT b.document, b.n_tokens, b.n_places, m.sequence, m.position
  FROM best b JOIN sizes z ON z.document = b.document JOIN matched m ON m.sequence = z.sequence
  QUALIFY row_number() OVER (PARTITION BY b.document ORDER BY m.sequence, m.position) = 1
), windows AS (
  SELECT f.document, f.sequence, list(coalesce(w.text, '<' || t.token_id || '>') ORDER BY t.position) AS tokens,
         list(m.sequence IS NOT NULL ORDER BY t.position) AS marked
  FROM firsts f
  JOIN tokens t ON t.sequence = f.sequence AND t.position BETWEEN f.position - $around AND f.position + $around
  LEFT JOIN words w ON w.token_id = t.token_id
  LEFT JOIN matched m ON m.sequence = t.sequence AND m.position = t.position
  GROUP BY f.document, f.sequence
)
SELECT a.*, f.document, d.name, f.n_places, f.n_tokens, f.sequence, f.position, v.tokens, v.marked
FROM total a LEFT JOIN firsts f ON true
LEFT JOIN windows v ON v.document = f.document
LEFT JOIN content_document d ON d.text_set_id = (SELECT text_set_id FROM eval) AND d.document = f.document
ORDER BY f.n_places DESC, f.document"""

_NEAREST_SQL = """\
WITH eval AS (SELECT id, tokenizer_id FROM encoding WHERE id = $encoding_id),
there AS (
  SELECT token_id, count(*) AS n
  FROM (SELECT unnest(token_ids) AS token_id FROM content_sequence WHERE encoding_id = (SELECT id FROM eval))
  GROUP BY token_id
), words AS (
  SELECT w.text, t.n FROM content_vocab w LEFT JOIN there t ON t.token_id = w.token_id
  WHERE w.tokenizer_id = (SELECT tokenizer_id FROM eval) AND NOT w.special AND length(w.text) > 0
), near AS (
  SELECT 'nearest' AS kind, text, 1 - damerau_levenshtein(folded, asked) / greatest(length(folded), length(asked), 1) AS likeness
  FROM (SELECT text, n, lower(trim(text, $blank)) AS folded, lower(trim($text, $blank)) AS asked FROM words WHERE n > 0)
  ORDER BY likeness DESC, n DESC, text LIMIT $n_nearest
)
SELECT kind, text FROM near WHERE likeness > $alike
UNION ALL
SELECT 'piece', text FROM words WHERE contains($text, text)"""

HITS = pa.schema(
    [
        ("document", pa.string()),
        ("n_places", pa.int64()),
        ("n_tokens", pa.int64()),
        *((name, pa.string()) for name in ("before", "text", "after")),
        ("sequence", pa.int64()),
        ("position", pa.int64()),
        ("tokens", pa.list_(pa.string())),
        ("marked", pa.list_(pa.bool_())),
    ]
)


def matched_sql(by: By, rest: str) -> str:
    """A statement in which `rest` may read matched (sequence, position), sizes, counted and words."""
    return f"WITH {WANTED}{_SEQUENCES}{_TOKEN if by == 'token' else _TEXT}{_MATCHED}{rest}"


@dataclass(frozen=True)
class Search:
    """What is searched for: text, whether as a whole token or anywhere, and how far behind it a place may lie."""

    text: str
    by: By
    same_case: bool
    within: int = 0

    def parameters(self, encoding_id: int) -> dict[str, object]:
        """For `matched_sql`."""
        return {
            "encoding_id": encoding_id,
            "text": self.text,
            "same_case": self.same_case,
            "within": self.within,
            "blank": BLANK,
        }


@dataclass(frozen=True)
class Hits:
    """Where it stands in the eval set.

    table: document, n_places (tokens that match), n_tokens, before, text, after, sequence, position of the first match,
    and the tokens of that window with those that match marked; at most 50 documents, those with most places first.
    """

    table: pa.Table
    n_places: int
    n_tokens: int
    n_with: int
    n_documents: int

    @property
    def share(self) -> float:
        """Share of the eval set's tokens that match."""
        return self.n_places / self.n_tokens if self.n_tokens else 0.0


def checked(text: str) -> str:
    """The text as it is; raises UsageError for one that is too long or no text."""
    if len(text) > LONGEST:
        raise UsageError(
            f"text={text[:20]!r}... has {len(text):,} characters; at most {LONGEST} can be searched for."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"text={text!r} has half of a character in it, which no text holds; write the whole character."
        ) from None
    return text


def find_hits(archive: Archive, search: Search, encoding_id: int) -> Hits:
    """One statement. Raises UsageError where the archive has no tokens of the eval set."""
    parameters = search.parameters(encoding_id) | {"n_documents": N_DOCUMENTS, "around": AROUND}
    rows = archive.rows(matched_sql(search.by, _HITS), parameters)
    first = rows[0]
    if not first["all_tokens"]:
        raise UsageError(
            "the archive holds no tokens of this eval set (published numbers come without texts), so they cannot be searched; "
            "eval_set=... asks for another."
        )
    found = [_hit(row) for row in rows if row["sequence"] is not None]
    return Hits(
        pa.Table.from_pylist(found, schema=HITS),
        first["all_places"],
        first["all_tokens"],
        first["all_with"],
        first["all_documents"],
    )


def suggest(archive: Archive, text: str, encoding_id: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(tokens of the eval set that look like the text, tokens of the vocabulary that spell it).

    The spelling takes the longest token that fits from the left, which need not be what the tokenizer would do;
    () where no tokens spell it.
    """
    parameters = {
        "encoding_id": encoding_id,
        "text": text,
        "blank": BLANK,
        "n_nearest": N_NEAREST,
        "alike": ALIKE,
    }
    rows = archive.rows(_NEAREST_SQL, parameters)
    nearest = tuple(r["text"] for r in rows if r["kind"] == "nearest")
    return nearest, spell(text, [r["text"] for r in rows if r["kind"] == "piece"])


def spell(text: str, pieces: Sequence[str]) -> tuple[str, ...]:
    """The text as pieces, the longest that fits first; () where they do not spell it."""
    longest_first = sorted(set(pieces), key=lambda p: (-len(p), p))
    found, at = [], 0
    while at < len(text):
        piece = next((p for p in longest_first if text.startswith(p, at)), None)
        if piece is None:
            return ()
        found.append(piece)
        at += len(piece)
    return tuple(found)


def told_nothing(search: Search, eval_set: str, nearest: Sequence[str], spelling: Sequence[str]) -> list[str]:
    """What to say where a search matches no token."""
    what = "token of" if search.by == "token" else "text in"
    lines = [f"There is no such {what} {eval_set}, so no example can match."]
    if nearest:
        lines.append(f"Tokens there that look like it: {', '.join(repr(t) for t in nearest)}.")
    if len(spelling) > 1:
        lines.append(
            f"It is no single token: {' + '.join(repr(t) for t in spelling)} spell it (the longest that fit, where the tokenizer "
            "may do otherwise); by='text' finds it across tokens."
        )
    return lines


def _hit(row: dict[str, Any]) -> dict[str, Any]:
    tokens, marked = row["tokens"], row["marked"]
    at = min(AROUND, row["position"])
    end = at
    while end < len(marked) and marked[end]:
        end += 1
    name = row["name"] or (
        f"document {row['document']}" if row["document"] >= 0 else f"sequence {row['sequence']}"
    )
    return {
        **{key: row[key] for key in ("n_places", "n_tokens", "sequence", "position", "tokens", "marked")},
        "document": name,
        "before": "".join(tokens[:at]),
        "text": "".join(tokens[at:end]),
        "after": "".join(tokens[end:]),
    }
