"""torchrun, which says in one line why its ranks ended: what they said themselves stands above it."""

from __future__ import annotations

import sys
from typing import NoReturn

from torch import distributed as dist
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousError


def main(arguments: list[str] | None = None) -> NoReturn:
    """The command line, which is torchrun's own."""
    try:
        run.run(run.parse_args(arguments))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        print(f"rank {rank} of this node ended first, with exit code {failure.exitcode}", file=sys.stderr)
        sys.exit(1)
    except (RendezvousError, dist.DistError) as error:
        print(f"the other nodes cannot be reached ({str(error).splitlines()[0]})", file=sys.stderr)
        sys.exit(1)
    except SignalException as stopped:
        sys.exit(128 + stopped.sigval)
    sys.exit(0)


if __name__ == "__main__":
    main()
