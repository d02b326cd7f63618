"""Makes shards with Apache Beam: DirectRunner here, Dataflow, Flink or Spark elsewhere. Needs the extra `beam`."""

from collections.abc import Sequence

from data_pipelines.shards import make_shard
from data_pipelines.units import Unit
from samjax.core.errors import MachineError, UserError


def make_shards(units: Sequence[Unit], out: str, *, runner: str, options: Sequence[str]) -> None:
    """Make the shards of `units`; results are left in the work folder of `out`.

    Args:
      units: what to read; every worker must reach their paths.
      out: the folder that is being prepared, on storage that every worker reaches.
      runner: a runner's name, as Beam knows it.
      options: Beam's own options, `--name=value`.

    Raises:
      UserError: no Beam, or the pipeline failed.
    """
    try:
        import apache_beam as beam  # pyright: ignore[reportMissingImports]  # not in every environment
        from apache_beam.options.pipeline_options import PipelineOptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(f"--runner needs Apache Beam ({error}): pip install 'samjax[beam]'") from error
    try:
        arguments = PipelineOptions([f"--runner={runner}", *options])
        with beam.Pipeline(options=arguments) as pipeline:
            _ = (
                pipeline
                | "units" >> beam.Create(units)
                | "spread" >> beam.Reshuffle()  # or the runner would fuse all units into one worker's work
                | "shards" >> beam.Map(lambda unit: make_shard(unit, out).key)
            )
    except (UserError, MachineError):
        raise
    except SystemExit as error:  # how Beam's option parser refuses
        raise UserError(f"Beam refuses its options {' '.join(options)}: correct them") from error
    except Exception as error:  # whatever the runner raises
        detail = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"the {runner} pipeline failed ({detail[0][:300]}): fix that and run the same command again; finished "
            "shards are kept"
        ) from error
