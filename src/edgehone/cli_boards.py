"""Commands about boards and what is made for them: what they run, bundles, and their check."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edgehone.cli_options import (
    Int8Option,
    JsonOption,
    MaxDropOption,
    MeasuredOption,
    ModelArgument,
    app,
    console,
    emit,
    screen,
)


@app.command(epilog="Example: edgehone boards jetson-xavier-nx --check model.onnx")
def boards(
    board: Annotated[str | None, typer.Argument(help="one of them; default: all", metavar="BOARD")] = None,
    check: Annotated[
        Path | None, typer.Option(help="an ONNX file: which of its nodes the board does not run; exit 1 if any")
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="with --check: version of the board's runtime, like 8.5")] = None,
    measured: MeasuredOption = None,
    as_json: JsonOption = False,
) -> None:
    """The boards that a detector can be deployed on, what each can run, and what it makes of a graph."""
    from edgehone import console_boards
    from edgehone.boards import BOARDS, read_measurements
    from edgehone.boards import board as board_of
    from edgehone.errors import UsageError

    if check is not None:
        if board is None:
            raise UsageError("a graph is checked for one board: edgehone boards BOARD --check MODEL.onnx")
        from edgehone.deploy.runnable import check_file

        violations, fallen = check_file(check, board_of(board), runtime)
        if as_json:
            emit(console_boards.check_json(board, violations, fallen))
        else:
            console_boards.print_check(screen(), board_of(board), violations, fallen)
        raise typer.Exit(1 if violations else 0)
    files = read_measurements(measured or ())
    chosen = BOARDS if board is None else {board: board_of(board)}
    if as_json:
        emit({name: console_boards.board_json(each, files) for name, each in chosen.items()})
    else:
        console_boards.print_boards(screen(), chosen, files)


@app.command(epilog="Example: edgehone deploy runs/mine --board jetson-xavier-nx --out bundles/nx")
def deploy(
    model: ModelArgument,
    board: Annotated[str, typer.Option(help="cpu, jetson-xavier-nx or kneron-kl720")],
    out: Annotated[Path, typer.Option(help="folder of the bundle; an earlier bundle in it is replaced")],
    data: Annotated[
        str | None, typer.Option(help="golden and calibration pictures; default: the run's own data")
    ] = None,
    threshold: Annotated[float, typer.Option(help="least score", min=0.01, max=0.99)] = 0.05,
    iou: Annotated[float, typer.Option(help="overlap above which the worse box goes", min=0.05, max=1.0)] = 0.45,
    int8: Int8Option = False,
    max_drop: MaxDropOption = 0.5,
    opset: Annotated[int | None, typer.Option(help="of ONNX: 11, 12 or 13; default: the board's")] = None,
    slice_free: Annotated[bool, typer.Option("--slice-free", help="write graphs without Slice, exactly equal")] = False,
    two_axis_resize: Annotated[
        bool, typer.Option("--two-axis-resize", help="of the KL720: one Resize for rows and columns")
    ] = False,
    measured: MeasuredOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a folder that runs on a board: graphs, programs, golden tensors, scripts, a page."""
    from edgehone import console_view
    from edgehone.boards import read_measurements
    from edgehone.deploy.bundle import Asked, Inquiry, Wishes
    from edgehone.inference import PostProcess
    from edgehone.single import deploy_model

    post = PostProcess(score_threshold=threshold, iou_threshold=iou)
    integer = Inquiry(max_drop=max_drop / 100) if int8 else None
    asked_for = Asked(opset=opset, slice_free=slice_free, two_axis_resize=two_axis_resize)
    wishes = Wishes(
        post,
        integer,
        max_drop / 100,
        asked_for,
        say=partial(console.print, markup=False),
        measured=read_measurements(measured or ()),
    )
    deployment = deploy_model(model, board, out, data, wishes)
    if as_json:
        emit(deployment.model_dump(mode="json"))
    else:
        console_view.print_deployment(screen(), board, deployment, out)


@app.command(epilog="Example: edgehone verify runs/mine/cpu")
def verify(
    folder: Annotated[Path, typer.Argument(help="a bundle", metavar="DIR")],
    as_json: JsonOption = False,
) -> None:
    """Check a bundle on this machine: its manifest, checksums, graph and golden tensors."""
    from edgehone.deploy.verify import verify_bundle

    found = verify_bundle(folder)
    if as_json:
        emit({"passed": found.passed, **found.model_dump(mode="json")})
    else:
        for check in found.checks:
            typer.echo(f"{'ok    ' if check.passed else 'FAILED'}  {check.name}: {check.found}")
    if not found.passed:
        raise typer.Exit(1)
