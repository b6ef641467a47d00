"""``toolkit data``: look at a data set before training on it, split it, and write it in another format."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.progress import progress_bar
from toolkit.errors import UserError

app = typer.Typer(help="Check, count, split and convert the pictures and labels of a config.", no_args_is_help=True)

ConfigFile = Annotated[str, typer.Argument(help="A config file, or the name of a shipped one.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def check(
    config: ConfigFile,
    overrides: Overrides = None,
    near_duplicates: Annotated[
        bool,
        typer.Option(help="Look for near-duplicates in two splits, too; small pictures then take twice as long."),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check every picture and label, list all faults at once, and print what is there.

    Exit code 2 on faults; near-duplicates in two splits are warnings.
    """
    from toolkit.config import load_config
    from toolkit.data import load_table
    from toolkit.data.check import summarise
    from toolkit.data.crossings import find_crossings, told

    loaded = load_config(config, overrides or []).config
    with progress_bar() as progress:
        table = load_table(loaded, progress=progress)
        crossings = find_crossings(table, progress=progress) if near_duplicates else []
    _tell_skipped(table)
    figures = summarise(table).to_dict()
    if as_json:
        _print_json({**figures, "near_duplicates": [vars(crossing) for crossing in crossings]})
    else:
        _print_tables(table, figures)
    for line in told(crossings):
        typer.echo(f"warning: {line}", err=True)


@app.command()
def split(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The CSV file to write; data.splits can name it.")] = Path("splits.csv"),
    val: Annotated[float, typer.Option(help="Share of the pictures held out to choose and measure by.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the pictures held out for the end.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same splits of the same set.")] = 0,
    near_duplicates: Annotated[bool, typer.Option(help="Keep near-duplicates in one split.")] = True,
    group_by: Annotated[
        str,
        typer.Option(
            metavar="FIELD",
            help="What else stays together: group (as the data tells), source, folder, picture (nothing), or a column "
            "of the data's CSV.",
        ),
    ] = "group",
    force: Annotated[bool, typer.Option(help="Replace the file if it is there.")] = False,
) -> None:
    """Draw splits anew: whole groups, every class and source in its share; write them and print what each split got.

    Groups and sources that data.splits tells are kept, its splits are not; data.splits=null goes without it.
    """
    from toolkit.cli.data_tables import print_counts
    from toolkit.config import load_config
    from toolkit.data.fault_log import shown
    from toolkit.data.split_file import Shares, shortcomings, split_config, split_rows, write_split_file

    shares = Shares(val, test)
    if out.exists() and not force:
        raise UserError(f"{shown(out)}: is there already; --force replaces it, --out names another")
    loaded = load_config(config, overrides or []).config
    with progress_bar() as progress:
        table, listed = split_config(
            loaded, shares, group_by=group_by, near_duplicates=near_duplicates, seed=seed, progress=progress
        )
    _tell_skipped(table)
    write_split_file(out, split_rows(listed))
    print_counts(table)
    for sentence in shortcomings(table, shares):
        typer.echo(f"warning: {sentence}", err=True)
    typer.echo(f"written: {shown(out)}; train on it with data.splits={shown(out)}")


@app.command()
def stats(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder for the figures, plots and contact sheets.")] = Path("stats"),
    as_json: AsJson = False,
) -> None:
    """Write figures (statistics.json), plots (statistics.png) and contact sheets with the truth drawn in."""
    from toolkit.config import load_config
    from toolkit.data.check import summarise
    from toolkit.data.contact_sheet import write_contact_sheets
    from toolkit.data.fault_log import shown
    from toolkit.data.open_set import open_set

    loaded = load_config(config, overrides or []).config
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{shown(out)}: cannot be made ({error.strerror}); name another folder with --out") from None
    with progress_bar() as progress:
        table = open_set(loaded, progress=progress)
        figures = summarise(table).to_dict()
        written = write_contact_sheets(table, out, progress=progress)
    (out / "statistics.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    written.append(out / "statistics.json")
    if importlib.util.find_spec("matplotlib"):
        from toolkit.data.plots import plot_table

        plot_table(table, out / "statistics.png")
        written.append(out / "statistics.png")
    else:
        typer.echo("no plots: they need matplotlib; pip install 'cv-toolkit[train]'", err=True)
    _tell_skipped(table)
    if as_json:
        _print_json(figures)
    else:
        _print_tables(table, figures)
        typer.echo(f"written: {', '.join(shown(path) for path in written)}")


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A config file or a shipped config's name; with --from, a folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as data.splits=FILE.")
    ] = None,
    to: Annotated[str, typer.Option("--to", help="coco, voc, yolo, labelme; folders, csv; masks, csv.")] = ...,  # type: ignore[assignment]
    out: Annotated[Path, typer.Option(help="The folder to write, which must not be there yet.")] = ...,  # type: ignore[assignment]
    stored: Annotated[
        str | None,
        typer.Option("--from", help="How the folder's labels are stored: the same names; labelme has boxes or masks."),
    ] = None,
    link: Annotated[bool, typer.Option("--link/--copy", help="Link to the pictures instead of copying them.")] = False,
) -> None:
    """Write a data set in another format: pictures, labels, class names, splits, groups and sources.

    What the format has no place for is told in a sentence. The new set is read back and compared before it appears.
    """
    from toolkit.config.yaml_text import dump
    from toolkit.data.convert import convert as write
    from toolkit.data.convert_source import open_source
    from toolkit.data.fault_log import shown

    with progress_bar() as progress:
        opened = open_source(source, stored, to, overrides or [], progress=progress)
        if opened.root is not None and out.absolute().is_relative_to(opened.root.absolute()):
            raise UserError(f"--out {out}: lies inside the data set {shown(opened.root)}; name a folder beside it")
        done = write(opened.table, opened.task, to, out, link=link, progress=progress)
    _tell_skipped(opened.table)
    for sentence in done.lost:
        typer.echo(f"not kept: {sentence}", err=True)
    typer.echo(f"written: {shown(out)}, {len(opened.table):,} pictures")
    if done.table is None:
        typer.echo("too few pictures to train on: each class must be in two of them", err=True)
    if done.block:
        typer.echo(f"in a config:\n{dump({'data': done.block})}", nl=False)


@app.command()
def label(
    model: Annotated[str, typer.Argument(help="A shipped bundle's name, a bundle's folder or zip, or a run.")],
    folder: Annotated[Path, typer.Argument(help="The folder of the pictures, which may lie in folders of it.")],
    to: Annotated[str, typer.Option("--to", help="coco, voc, yolo, labelme; folders, csv.")] = ...,  # type: ignore[assignment]
    out: Annotated[Path, typer.Option(help="The folder to write, which must not be there yet.")] = ...,  # type: ignore[assignment]
    score_threshold: Annotated[float | None, typer.Option(help="Least score of a box, 0 to 1.")] = None,
    class_folders: Annotated[
        bool,
        typer.Option("--class-folders", help="One object a picture: its best box, named as its folder."),
    ] = False,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="FOLDER=CLASS", help="A class folder that the model calls otherwise."),
    ] = None,
    link: Annotated[bool, typer.Option("--link/--copy", help="Link to the pictures instead of copying them.")] = False,
) -> None:
    """Label pictures with a trained model and write them as a data set, to correct it or to train on it.

    Such as `toolkit data label mask_detection photos --to labelme --out labelled`.
    """
    from toolkit.cli.data_tables import print_counts
    from toolkit.config.yaml_text import dump
    from toolkit.data.convert import convert as write
    from toolkit.data.convert import writer_of
    from toolkit.data.fault_log import shown
    from toolkit.data.prelabel import prelabel
    from toolkit.inference import load

    wrong = [pair for pair in rename or [] if not all(pair.partition("=")[::2])]
    if wrong:
        raise UserError(f"--rename {wrong[0]}: expected FOLDER=CLASS")
    loaded = load(model)
    writer_of(loaded.spec.task, to)
    if out.absolute().is_relative_to(folder.absolute()):
        raise UserError(f"--out {out}: lies inside {shown(folder)}; name a folder beside it")
    with progress_bar() as progress:
        table, left_out = prelabel(
            loaded,
            folder,
            score_threshold=score_threshold,
            class_folders=class_folders,
            renamed=dict(pair.split("=", 1) for pair in rename or []),
            progress=progress,
        )
        done = write(table, loaded.spec.task, to, out, link=link, progress=progress)
    for sentence in left_out:
        typer.echo(f"left out: {sentence}", err=True)
    for sentence in done.lost:
        typer.echo(f"not kept: {sentence}", err=True)
    print_counts(table)
    typer.echo(f"written: {shown(out)}, {len(table):,} pictures, labelled by {loaded.name}: look at them")
    if done.block:
        typer.echo(f"in a config:\n{dump({'data': done.block})}", nl=False)


def _tell_skipped(table: Any) -> None:
    for fault in table.skipped:
        typer.echo(f"left out: {fault}", err=True)


def _print_json(figures: dict[str, Any]) -> None:
    typer.echo(json.dumps(figures, indent=2, ensure_ascii=False))


def _print_tables(table: Any, figures: dict[str, Any]) -> None:
    from toolkit.cli.data_tables import print_counts, print_sizes

    print_counts(table)
    print_sizes(figures)
