"""The parity table: one model, computed in many ways, each in a process of its own."""

from samescore.parity.run import ParityJob, run_parity

__all__ = ["ParityJob", "run_parity"]
