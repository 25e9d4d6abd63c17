"""Commands that look back at searches: explain, and the group ``store``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgehone.cli_options import (
    JsonOption,
    RayOption,
    StoreOption,
    app,
    console,
    emit,
    parse_duration,
    parse_share,
    screen,
)
from edgehone.errors import UsageError

store_group = typer.Typer(help="What earlier searches found, for the next ones to start from.", no_args_is_help=True)


@app.command(epilog="Example: edgehone explain runs/mine --budget 20m")
def explain(
    run: Annotated[Path, typer.Argument(help="the folder of a finished run or search", metavar="RUN")],
    budget: Annotated[
        str,
        typer.Option(help="for trainings from default to winner: a share of the run's own, or like 10m; 0 for none"),
    ] = "20%",
    ray: RayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why a run found what it found: from default to winner, one change at a time; goes on where it was."""
    from edgehone import console_search, console_view
    from edgehone.explain import EXPLANATION, within_budget
    from edgehone.explain import explain as explain_run

    share = parse_share(budget)
    seconds = parse_duration(budget) if share is None else within_budget(run, share)
    with console_view.live(console, seconds) as show:
        explanation = explain_run(run, seconds, show, ray)
    if as_json:
        emit(explanation.model_dump(mode="json"))
        return
    console_search.print_explanation(screen(), explanation)
    screen().print(f"written to {run / EXPLANATION} and into the report, where there is one", soft_wrap=True)


@store_group.command("list", epilog="Example: edgehone store list")
def store_list(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """The searches that new ones start from: the user's, then those that come with the package."""
    from edgehone import console_search
    from edgehone.search.store import Store, shipped_entries

    found, shipped = Store.at(store), shipped_entries()
    entries = [*found.entries(), *shipped]
    place = None if found.path is None else str(found.path)
    if as_json:
        emit({"store": place, "searches": [entry.model_dump(mode="json") for entry in entries]})
    else:
        console_search.print_store(screen(), place or "no store", entries, len(shipped))


@store_group.command("export", epilog="Example: edgehone store export searches.jsonl")
def store_export(
    out: Annotated[Path, typer.Argument(help="a new file", metavar="OUT")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the user's searches into a file for others."""
    from edgehone.files import write_text
    from edgehone.search.store import Store, store_text

    if out.exists():
        raise UsageError(f"an export goes into a new file, but {out} exists")
    entries = Store.at(store).entries()
    write_text(out, store_text(entries))
    _say(as_json, {"written": str(out), "searches": len(entries)}, f"{len(entries)} searches written to {out}")


@store_group.command("import", epilog="Example: edgehone store import searches.jsonl")
def store_import(
    file: Annotated[Path, typer.Argument(help="an export, or store.jsonl of a run's folder", metavar="FILE")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add searches from a file; those that are there already are not added twice."""
    from edgehone.search.store import Store, read_foreign

    into = Store.at(store)
    if into.path is None:
        raise UsageError("an import needs a store to go into, but the store is none")
    entries = read_foreign(file)
    new = into.add(entries)
    text = f"{new} of {len(entries)} searches were new in {into.path}"
    _say(as_json, {"store": str(into.path), "new": new, "read": len(entries)}, text)


def _say(as_json: bool, content: dict[str, str | int], text: str) -> None:
    if as_json:
        emit(content)
    else:
        screen().print(text, soft_wrap=True)
