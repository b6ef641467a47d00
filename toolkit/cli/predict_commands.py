"""``toolkit predict`` and ``serve``: what a trained bundle is for. Neither needs torch."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.errors import UserError

if TYPE_CHECKING:
    from toolkit.results import Result

Precision = Annotated[str, typer.Option(help="fp32, int8 or auto: int8 on the CPU where the bundle has it.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(predict)
    app.command()(serve)


def predict(
    model: Annotated[str, typer.Argument(help="A shipped bundle's name, a bundle's folder or zip, or a run.")],
    inputs: Annotated[list[str], typer.Argument(help="Pictures, folders, patterns ('*.jpg'), videos or CT series.")],
    save: Annotated[
        Path | None, typer.Option(help="Folder for the drawn pictures, and of CT series the masks.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of a summary.")] = False,
    score_threshold: Annotated[float | None, typer.Option(help="Least score of a box, 0 to 1.")] = None,
    iou_threshold: Annotated[
        float | None, typer.Option(help="Overlap above which the weaker box goes, 0 to 1.")
    ] = None,
    max_detections: Annotated[int | None, typer.Option(help="Most boxes in a picture.")] = None,
    top_k: Annotated[int | None, typer.Option(help="How many of the best classes to list.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Draw where a classifier sees its evidence (with --save).")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Pictures that the network takes at once.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    precision: Precision = "auto",
) -> None:
    """Predict on pictures, folders, videos and CT series; exit code 2 when some of them could not be used."""
    from toolkit.inference import load

    loaded = load(model, device, precision=precision)
    results = loaded.predict(
        inputs,
        batch_size=batch_size,
        explain=explain,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        top_k=top_k,
    )
    failed = done = 0
    names = _Names(save)
    for result in results:
        if not result:
            failed += 1
            typer.echo(f"error: {result.summary()}", err=True)
            if json:
                typer.echo(json_module.dumps(result.to_dict(), ensure_ascii=False))
            continue
        done += 1
        saved = _saved(result, names.next(result.source)) if save else None  # type: ignore[arg-type]
        if json:
            typer.echo(json_module.dumps(result.to_dict(), ensure_ascii=False))
        else:
            typer.echo(result.summary() + (f" -> {saved}" if saved else ""))
    if failed:
        if done:
            typer.echo(f"{failed} of {failed + done} pictures could not be used", err=True)
        raise typer.Exit(2)


def _saved(result: Result, path: Path) -> Path:
    """Write the drawing, and of a volume the mask and the numbers beside it."""
    from toolkit.results import CTReport

    if isinstance(result, CTReport):
        result.save_mask(path.with_suffix(".nii.gz"))
        result.save(path.with_suffix(".json"))
    return result.save(path)


class _Names:
    """File names for drawn pictures: the source's own, numbered where two sources share one."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder or Path()
        self._taken: set[str] = set()

    def next(self, source: str) -> Path:
        name = Path(source.replace("#", "_"))
        suffix = name.suffix.lower() if name.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") else ".jpg"
        stem, number = name.stem if suffix == name.suffix.lower() else name.name.replace(".", "_"), 1
        candidate = f"{stem}{suffix}"
        while candidate in self._taken:
            number += 1
            candidate = f"{stem}_{number}{suffix}"
        self._taken.add(candidate)
        return self._folder / candidate


def serve(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(help="A shipped bundle's name, a bundle's folder or zip, or a run; or several."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    precision: Precision = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Predictions at once; default the usable cores, at most 4.")
    ] = None,
    waiting: Annotated[int, typer.Option(min=0, help="Pictures that may wait besides; more get 429.")] = 32,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds for a request that names no X-Request-Timeout-Ms.")
    ] = 30.0,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Pictures with more get 413.")] = 50.0,
    max_body_mib: Annotated[float, typer.Option(min=0.001, help="Longer bodies get 413.")] = 32.0,
    keys: Annotated[
        Path | None, typer.Option(help="Ask for an API key of this file (see `toolkit keys`); health asks for none.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="Let pages of this origin (https://shop.example) call; may be given twice."),
    ] = None,
    picture_host: Annotated[
        list[str] | None,
        typer.Option(help="Fetch pictures that are named by an https URL of this host; may be given twice."),
    ] = None,
    traces: Annotated[
        str | None,
        typer.Option(help="Send OpenTelemetry traces to this collector (http://localhost:4318); needs [tracing]."),
    ] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Serve every bundle in this folder too.")] = None,
    admin_port: Annotated[
        int | None,
        typer.Option(help="Let bundles of --models-dir be loaded, swapped and unloaded here, from this machine only."),
    ] = None,
    jobs: Annotated[
        Path | None,
        typer.Option(help="Take jobs (a zip of pictures, a video, a CT series) and keep them in this folder."),
    ] = None,
    log_format: Annotated[str, typer.Option(help="How the log on stderr is written: text or json.")] = "text",
) -> None:
    """Serve bundles over HTTP, with a page to drop a picture on."""
    try:
        from serve.server import run
        from serve.settings import Settings
    except ImportError as error:
        raise UserError(f"toolkit serve: {error}; install the toolkit with its base dependencies") from error

    settings = Settings(
        workers=workers,
        waiting=waiting,
        timeout_seconds=timeout,
        max_pixels=int(max_megapixels * 1e6),
        max_body_bytes=int(max_body_mib * 2**20),
        keys=keys,
        cors_origins=tuple(cors_origin or ()),
        picture_hosts=tuple(picture_host or ()),
        traces=traces,
        jobs=jobs,
    )
    run(
        bundles or [],
        host=host,
        port=port,
        device=device,
        precision=precision,
        models_dir=models_dir,
        admin_port=admin_port,
        settings=settings,
        log_format=log_format,
    )
    sys.stdout.flush()
