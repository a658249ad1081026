"""The reader's JSON answers as tables: a header, and rows of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stitch.rejections import printable

Answer = Mapping[str, Any]
Table = tuple[list[str], list[list[str]]]
UNKNOWN = "-"  # a count that is not known


def totals(answer: Answer) -> Table:
    names = answer["query"]["counters"]
    changes = {row["key"]: row["changes"] for row in answer.get("comparison", {}).get("data", ())}
    header = ["key", *names, *(f"{name} before" for name in names if changes)]
    return header, [
        [row["key"], *(_count(row["counts"][name]) for name in names),
         *(_count(changes[row["key"]][name]["previous"]) for name in names if changes)]
        for row in answer["data"]
    ]  # fmt: skip


def series(answer: Answer) -> Table:
    names, many = answer["query"]["counters"], "data" in answer
    found = answer["data"] if many else [answer]
    faced = any("previous" in point for one in found for point in one["points"])
    header = [*(["key"] * many), "start", *names, *(f"{name} before" for name in names if faced)]
    rows = []
    for one in found:
        for point in [*([one["before"]] if "before" in one else []), *one["points"]]:
            before = (point.get("previous") or {}).get("counts", {})
            rows.append([*([one["key"]] if many else []), point["start"],
                         *(_count(point["counts"][name]) for name in names),
                         *(_count(before.get(name)) for name in names if faced)])  # fmt: skip
    return header, rows


def top(answer: Answer) -> Table:
    changes = {row["member"]: row for row in answer.get("comparison", {}).get("data", ())}
    rows = [
        [row["member"], _count(row["count"]), *([_count(changes[row["member"]]["previous"])] if changes else [])]
        for row in answer["members"]
    ]
    empty = [""] * bool(changes)
    rows += [["(others)", _count(answer["others"]), *empty], ["(total)", _count(answer["total"]), *empty]]
    return ["member", "count", *(["before"] if changes else [])], rows


def chart(answer: Answer) -> Table:
    changes = {row["key"]: row for row in answer.get("comparison", {}).get("data", ())}
    return ["key", "count", *(["before"] if changes else [])], [
        [row["key"], _count(row["count"]), *([_count(changes[row["key"]]["previous"])] if changes else [])]
        for row in answer["keys"]
    ]


def keys(answer: Answer) -> Table:
    return ["key"], [[row["key"]] for row in answer["data"]]


def corrections(answer: Answer) -> Table:
    header = ["day", "cutoff", "before", "after", "difference"]
    return header, [[_count(row[name]) for name in header] for row in answer["data"]]


def counters(answer: Answer) -> Table:
    header = ["name", "key", "member", "resolution", "title"]
    return header, [["" if row[name] is None else str(row[name]) for name in header] for row in answer["data"]]


TABLES: Mapping[str, Callable[[Answer], Table]] = {
    "totals": totals, "series": series, "top": top, "chart": chart, "keys": keys, "corrections": corrections,
    "counters": counters,
}  # fmt: skip


def lines(table: Table) -> Iterator[str]:
    """The table for a terminal: texts to the left, numbers to the right."""
    header, rows = table
    shown = [[printable(cell) for cell in row] for row in rows]
    wide = [max(map(len, column)) for column in zip(header, *shown, strict=True)]
    right = [bool(shown) and all(_is_number(row[at]) for row in shown) for at in range(len(header))]
    for row in [header, *shown]:
        cells = zip(row, wide, right, strict=True)
        yield "  ".join(cell.rjust(size) if number else cell.ljust(size) for cell, size, number in cells).rstrip()


def notes(answer: Answer) -> list[str]:
    """What a person must know beside the numbers: what they lack, and how to go on."""
    meta: Mapping[str, Any] = answer.get("meta", {})
    found = []
    if meta.get("missing"):
        found.append(f"the {' and the '.join(meta['missing'])} layer does not answer")
    if meta.get("partial"):
        found.append(f"not every count is whole: {meta.get('reason', '')}")
    if answer.get("exact") is False:
        found.append("lists do not decide this chart: another key may belong to it")
    if answer.get("next"):
        found.append(f"there are more: --after {answer['next']}")
    return found


def refusal(problem: Mapping[str, Any]) -> str:
    """What the reader said of a request that it did not answer (application/problem+json)."""
    mistakes: Sequence[Mapping[str, str]] = problem.get("errors") or ()
    said = [f"  {one['parameter']}: {one['detail']}" for one in mistakes]
    return "\n".join([str(problem.get("title", "Error")), *said] if said else [str(problem.get("detail", problem))])


def _count(count: Any) -> str:
    return UNKNOWN if count is None else str(count)


def _is_number(cell: str) -> bool:
    return cell in ("", UNKNOWN) or cell.lstrip("-").isdigit()
