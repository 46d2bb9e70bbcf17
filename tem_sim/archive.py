"""A run on disk: a folder with `run.json` and one numpy archive per frame.

Measured on 1.5 million transitions, an archive takes 0.5 s to write and 0.15 s to read, a .csv.gz 3.9 s and
0.7 s. And it is exact by construction, where a CSV's reader must be talked out of reading the kind "NA" as
nothing, and needs another flag for exact floats in each pandas. `numpy.load` opens it without us.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tem_sim.frames import SCHEMAS, Column, Run, RunError, conform

SCHEMA_VERSION = 3
# Frames that older runs do not have, and the first version that does.
_SINCE = {"messages": 3, "steps": 3, "changes": 3}

_FIELDS = ("seed", "mode", "status", "store", "end_s", "digest", "versions")


def save(run: Run, folder: Path) -> Path:
    if folder.exists() and not replaceable(folder):
        raise RunError(f"{folder}: exists and holds no run; choose another folder or empty this one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o777 & ~_umask())
        _write(run, fresh)
        if folder.exists():
            _keep_strangers(folder, fresh)
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / "run.json").is_file() or not any(folder.iterdir()))


def _umask() -> int:
    """Return the process's umask; mkdtemp ignores it and makes folders that only their owner may read."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _keep_strangers(folder: Path, fresh: Path) -> None:
    for path in folder.iterdir():
        target = fresh / path.name
        if not target.exists():
            shutil.copytree(path, target, symlinks=True) if path.is_dir() else shutil.copy2(path, target)


def _swap(fresh: Path, folder: Path) -> None:
    """Put `fresh` in `folder`'s place; should the second rename fail, the old run goes back."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    folder.replace(old / "run")
    try:
        fresh.rename(folder)
    except OSError:
        (old / "run").rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write(run: Run, folder: Path) -> None:
    head = {name: getattr(run, name) for name in _FIELDS}
    document = {"schema_version": SCHEMA_VERSION, "scenario": run.scenario_dict, **head}
    if run.schedule:
        document["schedule"] = run.schedule
    for name in SCHEMAS:
        _write_frame(getattr(run, name), folder / f"{name}.npz")
    (folder / "run.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_frame(frame: pd.DataFrame, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in frame.columns:
            for key, values in _arrays(str(name), frame[name]).items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, values, allow_pickle=False)
                # A ZipInfo made by hand is dated 1980, so equal runs make equal files.
                entry = zipfile.ZipInfo(f"{key}.npy")
                archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=1)


def _arrays(name: str, series: pd.Series[Any]) -> dict[str, np.ndarray[Any, Any]]:
    if isinstance(series.dtype, pd.CategoricalDtype):
        words = np.array([str(value) for value in series.cat.categories], dtype=np.str_)
        return {name: series.cat.codes.to_numpy(), f"{name}.words": words}
    if name in _TEXT_COLUMNS:
        return {name: np.array(series.tolist(), dtype=np.str_)}
    return {name: series.to_numpy()}


_TEXT_COLUMNS = {column.name for schema in SCHEMAS.values() for column in schema if column.dtype == "str"}


def load(folder: Path) -> Run:
    document = _read_head(folder)
    try:
        names = [name for name in SCHEMAS if document["schema_version"] >= _SINCE.get(name, 1)]
        frames: dict[str, Any] = {name: _read_frame(name, folder / f"{name}.npz") for name in names}
        head: dict[str, Any] = {name: document[name] for name in _FIELDS}
        schedule = {int(step): str(thread) for step, thread in document.get("schedule", {}).items()}
        return Run(scenario_dict=dict(document["scenario"]), schedule=schedule, **head, **frames)
    except FileNotFoundError as error:
        raise RunError(f"{folder}: {Path(error.filename).name} is missing; run the scenario again") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError) as error:
        raise RunError(f"{folder}: the saved run is damaged ({error}); run the scenario again") from error


def _read_head(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        version = int(document["schema_version"])
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder}: no run here (no run.json); give a folder that `tem-sim run` wrote") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}: run.json is damaged ({error}); run the scenario again") from error
    if version > SCHEMA_VERSION:
        raise RunError(
            f"{folder}: written by a newer tem-sim (schema {version}, this one reads {SCHEMA_VERSION}); "
            "upgrade tem-sim or run the scenario again"
        )
    return dict(document)


def _read_frame(name: str, path: Path) -> pd.DataFrame:
    with np.load(path, allow_pickle=False) as archive:
        return conform(name, {column.name: _read_column(archive, column) for column in SCHEMAS[name]})


def _read_column(archive: Mapping[str, Any], column: Column) -> Any:
    values = archive[column.name]
    if column.dtype != "category":
        return values
    words = pd.Index([str(word) for word in archive[f"{column.name}.words"]], dtype="str")
    return pd.Categorical.from_codes(values, categories=words)
