"""The paper's Tables 1 to 3 with what was measured beside what was published.

python scripts/paper_tables.py outputs/h36m_full/sweep_... outputs/baseline/* --out tables

Runs and sweeps give rows as for scripts/collect.py; evaluate them with settings=all first. What is
published stands in scripts/published.json. A measured row stands on the line of a published one of
the authors only if it is of the same data and split, leaves nothing out, and was given the same:
UP, T, SF, SPP, and nothing that the paper does not have. Otherwise it has a line of its own. Table
3 sets rows beside each other by what is left out, whatever the data: read the order of its rows,
not their level. What was not run is blank. Figures are monocular, mean and standard deviation over
seeds. Nothing but the figures goes into tables.md, tables.tex and tables.json, so that they are
equal when they are made again.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mask_sup.files.disk import write_file
from mask_sup.method.rows import Group, grouped, markdown, read_rows, run_folders

PUBLISHED = Path(__file__).with_name("published.json")
COLUMNS = {  # of each table: head -> figure and what it is multiplied by
    "table1": {
        "MSE %": ("mono/mse_2d_pct", 1.0),
        "MPJPE mm": ("mono/mpjpe_mm", 1.0),
        "N-MPJPE mm": ("mono/n_mpjpe_mm", 1.0),
        "P-MPJPE mm": ("mono/p_mpjpe_mm", 1.0),
    },
    "table2": {
        "PCK %": ("mono/pck150_pct", 1.0),
        "AUC %": ("mono/auc_pct", 1.0),
        "MPJPE cm": ("mono/mpjpe_mm", 0.1),
    },
    "table3": {"MPJPE mm": ("mono/mpjpe_mm", 1.0), "ambiguity %": ("ambiguity_pct", 1.0)},
}
CONFIGURATIONS = (  # of Table 3, and single removals that it does not have
    ("psi", "G", "Delta"), ("psi", "G"), ("G",), (), ("psi",), ("Delta",),
)  # fmt: skip


class Line(NamedTuple):
    """One line of a table."""

    method: str
    data: str
    given: str
    seeds: str
    published: Sequence[str]
    measured: Sequence[str]


def main() -> None:
    """Read runs, lay them beside the published figures, write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs or sweeps")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    given = parser.parse_args()
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    try:
        rows = [row for folder in run_folders(given.runs) for row in read_rows(folder)]
        groups = grouped(rows)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    tables = {name: by_settings(published, groups, name) for name in ("table1", "table2")}
    tables["table3"] = by_removal(published["table3"], groups)
    for name, write in {"md": as_markdown, "tex": as_latex, "json": as_json}.items():
        write_file(given.out / f"tables.{name}", write(tables, published))
    print((given.out / "tables.md").read_text(encoding="utf-8"))
    print(f"written to {given.out}: tables.md, tables.tex, tables.json")


# ---- lines ---------------------------------------------------------------------------------------


def by_settings(published: Mapping[str, Any], groups: Sequence[Group], table: str) -> list[Line]:
    """Lines of Table 1 or 2: the published ones in their order, then what is measured otherwise.

    Data that one of the two is about is in that one alone; any other data is in both.
    """
    (other,) = (published[name]["dataset"] for name in ("table1", "table2") if name != table)
    published, lines = published[table], []
    left = [group for group in groups if not group.data.startswith(other)]
    blank = [""] * len(COLUMNS[table])
    for row in published["rows"]:
        told = [_figure(value) for value in row["figures"]]
        given = ", ".join(row["given"]) or "nothing"
        same = [group for group in left if row.get("ours") and _alike(group, row, published)]
        left = [group for group in left if group not in same]
        for group in same or [None]:
            lines.append(
                Line(
                    row["method"] if group is None else f"{row['method']} ({_title(group)})",
                    published["data"],
                    given,
                    "" if group is None else str(len(group.seeds)),
                    told,
                    blank if group is None else _measured(group, table),
                )
            )
    return lines + [_own(group, table, blank) for group in left]


def _alike(group: Group, row: Mapping[str, Any], published: Mapping[str, Any]) -> bool:
    """Whether a group is the whole method, on the data of a table, given exactly what a row was."""
    given, whole = row["given"], not group.without and not group.untrained
    wanted = ", ".join(
        flag for flag in ("UP", "T", "SF", "SPP", "labels")
        if flag in given or (flag == "labels" and "SPP" in given)
    )  # fmt: skip
    there = (published["data"], published["split"])
    return whole and (group.data, group.split) == there and group.given == (wanted or "nothing")


def by_removal(published: Mapping[str, Any], groups: Sequence[Group]) -> list[Line]:
    """Lines of Table 3: each experiment's, in the order of the paper; single removals last."""
    told = {tuple(row["without"]): list(map(_figure, row["figures"])) for row in published["rows"]}
    plain = [group for group in groups if group.setting == "plain" and not group.untrained]
    blank = [""] * len(COLUMNS["table3"])
    lines = []
    for name, data, split in sorted({(g.name, g.data, g.split) for g in plain}) or [("", "", "")]:
        here = {g.without: g for g in plain if (g.name, g.data, g.split) == (name, data, split)}
        if name and not any(here):  # one run alone is no ablation
            continue
        for without in CONFIGURATIONS:
            group = here.get(without)
            if group is None and without not in told:
                continue
            label = f"wo {', '.join(without)}" if without else "full"
            where = (f"{label} ({name})" if name else label, f"{data} {split}".strip())
            beside = told.get(without, blank)
            if group is None:
                lines.append(Line(*where, "", "", beside, blank))
            else:
                seeds = str(len(group.seeds))
                lines.append(Line(*where, group.given, seeds, beside, _measured(group, "table3")))
    return lines or by_removal(published, [])


def _own(group: Group, table: str, blank: Sequence[str]) -> Line:
    data, seeds = f"{group.data} {group.split}", str(len(group.seeds))
    return Line(_title(group), data, group.given, seeds, blank, _measured(group, table))


def _title(group: Group) -> str:
    return f"{group.label}, {group.setting}"


def _measured(group: Group, table: str) -> list[str]:
    return [group.cell(key, scale) for key, scale in COLUMNS[table].values()]


def _figure(value: float | None) -> str:
    return "" if value is None else str(value)


# ---- files ---------------------------------------------------------------------------------------


def _heads(table: str) -> list[str]:
    figures = COLUMNS[table]
    heads = [f"{head}, {kind}" for kind in ("published", "measured") for head in figures]
    return ["method", "data", "given", "seeds", *heads]


def _cells(line: Line) -> list[str]:
    return [*line[:4], *line.published, *line.measured]


def as_markdown(tables: Mapping[str, Sequence[Line]], published: Mapping[str, Any]) -> str:
    """All tables, with the source of the published figures."""
    parts = [f"Published: {published['source']}."]
    for number, (name, lines) in enumerate(tables.items(), 1):
        told = markdown(_heads(name), [_cells(line) for line in lines])
        parts.append(f"**Table {number}.** {published[name]['title']}\n\n{told}")
    return "\n\n".join(parts) + "\n"


def as_latex(tables: Mapping[str, Sequence[Line]], published: Mapping[str, Any]) -> str:
    """A tabular for each table; needs booktabs."""
    parts = [f"% Published: {_escaped(published['source'])}."]
    for number, (name, lines) in enumerate(tables.items(), 1):
        rows = [" & ".join(map(_escaped, cells)) for cells in (_heads(name), *map(_cells, lines))]
        columns = "lll" + "r" * (len(_heads(name)) - 3)
        body = " \\\\\n".join(rows[1:])
        parts.append(
            f"% Table {number}. {_escaped(published[name]['title'])}\n"
            f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{rows[0]} \\\\\n\\midrule\n{body} \\\\\n"
            "\\bottomrule\n\\end{tabular}"
        )
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    for sign in "\\&%_#$":
        text = text.replace(sign, "\\" + sign if sign != "\\" else "\\textbackslash ")
    return text.replace("±", "$\\pm$")


def as_json(tables: Mapping[str, Sequence[Line]], published: Mapping[str, Any]) -> str:
    """Lines by table."""
    told = {
        name: {
            "title": published[name]["title"],
            "columns": list(COLUMNS[name]),
            "rows": [line._asdict() for line in lines],
        }
        for name, lines in tables.items()
    }
    return json.dumps({"source": published["source"], **told}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
