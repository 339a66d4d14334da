"""Compare run folders with their seals: ``python -m memexp.verify``. Nothing is mended; ``seal=true`` seals anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memexp.errors import Complaints, RecordError
from memexp.fields import ranged
from memexp.files import shown
from memexp.options import run_command
from memexp.progress import say
from memexp.results import claims, record, schema, seals
from memexp.results.history import check_readable
from memexp.results.study import find_study, study_names


@dataclass
class Options:
    """Compare all files of run folders with the seals that the runs gave them. Nothing is mended."""

    study: list[str] | None = ranged(default=None, about="the folder below outputs_dir, or several; null: all of them")
    seal: bool = ranged(
        default=False, about="true: seal the files as they are now, after a change on purpose, and say what changed"
    )
    outputs_dir: str = ranged(default="outputs", path=True, about="where the run folders are")


def faults(folder: Path) -> Iterator[str]:
    """Say, in a line each, which files of a run are not what was sealed."""
    if not record.is_complete(folder):
        yield from _faults_of_unfinished(folder)
        return
    try:
        sealed = record.read_summary(folder).get(record.SEALED)
        record.read_json(folder / record.CONFIG)
    except RecordError as error:
        yield str(error)
        return
    there = [name for name in record.FILES if record.path_of(folder, name).exists()]
    for name in dict.fromkeys([*(sealed or {}), *there]):
        try:
            content = record.read_bytes(folder, name, sealed)
            if sealed is None and name.endswith(".pt"):
                seals.check_zip(content)
        except RecordError as error:
            yield str(error)
        except Exception as error:  # of a file that is no zip file any more
            yield f"{folder / name} is damaged ({error}); {record.remedy(folder / name)}"


def _faults_of_unfinished(folder: Path) -> Iterator[str]:
    """Say which files of a run that is not finished cannot be gone on from."""
    from memexp.training import checkpoints  # loads torch, which most studies need not wait for

    try:
        if (folder / record.CONFIG).exists():
            record.read_json(folder / record.CONFIG)
        if (folder / record.LAST).exists():
            state = checkpoints.load(folder / record.LAST, "training")["training"]
            for name, seal in state.get(record.SEALED, {}).items():
                record.read_beginning(folder / name, seal)
    except RecordError as error:
        yield str(error)


def seal(folder: Path) -> list[str]:
    """Seal the files of a complete run as they are now.

    Returns:
        What has changed since they were sealed, a remark for each file; nothing if all is as it was sealed.

    Raises:
        RecordError: a file cannot be read or written, holds what cannot be, or another process has the folder.
    """
    with claims.hold(folder):
        path, remarks = folder / record.SUMMARY, []
        summary, state = record.read_object(path)
        record.check_format(summary, path)
        schema.check(summary, path, "correct it")
        check_readable(folder, summary)
        before = summary.pop(record.SEALED, None)
        later = set(summary.pop(record.SEALED_LATER, ()))
        config, state_of_config = record.read_object(folder / record.CONFIG)
        if state_of_config != "sealed":
            record.write_json(folder / record.CONFIG, config)
        now = record.seals_of(folder)
        if before is None:
            remarks, later = ["for the first time"], {record.SUMMARY, *now}
        else:
            if state != "sealed":
                remarks.append(f"{record.SUMMARY} was changed")
            remarks += [f"{name} is gone" for name in before if name not in now]
            remarks += [f"{name} is new ({now[name][0]:,} bytes)" for name in now if name not in before]
            changed = [name for name in now if name in before and now[name] != before[name]]
            remarks += [f"{name} was changed ({before[name][0]:,} bytes, now {now[name][0]:,})" for name in changed]
            later = (later | {*changed, *(now.keys() - before.keys())}) - (before.keys() - now.keys())
            later |= {record.SUMMARY} if state != "sealed" else set()
        if remarks:
            record.write_summary(folder, summary, later)
        return remarks


def verify(options: Options) -> int:
    """Do what the options ask for; return the exit code: 1 if something is not what was sealed, or cannot be sealed."""
    outputs, complaints = Path(options.outputs_dir), Complaints()
    names = [find_study(outputs, name).name for name in options.study] if options.study else study_names(outputs)
    if not names:
        raise RecordError(f"{outputs} has no study")
    for name in names:
        folders = record.run_folders(outputs / name)
        if options.seal:
            _seal_study(outputs / name, folders, complaints)
        else:
            _verify_study(outputs / name, folders, complaints)
    return 1 if complaints.count else 0


def _verify_study(study: Path, folders: list[Path], complaints: Complaints) -> None:
    files, later, unfinished, unsealed, damaged = 0, 0, 0, 0, 0
    for folder in folders:
        found = [*faults(folder)]
        for line in found:
            complaints.add(line)
        damaged += bool(found)
        if not record.is_complete(folder):
            unfinished += 1
        elif not found:
            summary = record.read_summary(folder)
            unsealed += record.SEALED not in summary
            files += len(summary.get(record.SEALED, ())) + (record.SEALED in summary)
            later += record.SEALED_LATER in summary
    counts = [f"{_runs(len(folders))}, {files} files as sealed"]
    counts += [f"{_runs(number)} {what}" for number, what in (
        (later, "sealed later, not at its end"), (unsealed, "without seals (seal=true seals them)"),
        (unfinished, "not finished"), (damaged, "DAMAGED"),
    ) if number]  # fmt: skip
    say(f"{shown(study)}: {'; '.join(counts)}")


def _runs(number: int) -> str:
    return f"{number} run{'s' if number != 1 else ''}"


def _seal_study(study: Path, folders: list[Path], complaints: Complaints) -> None:
    sealed = 0
    for folder in folders:
        if not record.is_complete(folder):
            continue
        try:
            remarks = seal(folder)
        except RecordError as error:
            complaints.add(f"not sealed: {error}")
            continue
        if remarks:
            sealed += 1
            say(f"{shown(folder)}: sealed: {', '.join(remarks)}")
    say(f"{shown(study)}: {sealed} of {_runs(len(folders))} sealed anew")


def main() -> None:
    """Run ``python -m memexp.verify``."""
    run_command("verify", Options, verify)


if __name__ == "__main__":
    main()
