"""Rides to train on. Yours come from a warehouse; these are drawn from a law with a fixed seed."""

from __future__ import annotations

from typing import Any

import numpy as np

PAYMENTS = ("card", "cash", "app")


def make_rides(rows: int, seed: int) -> list[dict[str, Any]]:
    """Return raw records as a client would send them, null and absent fields among them."""
    rng = np.random.default_rng(seed)
    rides: list[dict[str, Any]] = []
    for i in range(rows):
        km = float(rng.gamma(2.0, 4.0))
        ride: dict[str, Any] = {
            "fare": 3.2 + 1.9 * km + float(rng.normal(0.0, 1.0)),
            "distance_km": None if i % 17 == 0 else km,
            "picked_up": f"2026-03-{1 + i % 28:02d}T{int(rng.integers(24)):02d}:"
            f"{int(rng.integers(60)):02d}:00+01:00",
            "passengers": int(rng.integers(1, 5)),
        }
        if i % 11:
            ride["payment"] = str(rng.choice([*PAYMENTS, "voucher"]))
        rides.append(ride)
    return rides


def tips(rides: list[dict[str, Any]], seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return 1.0 where a ride was tipped; the law that the model has to find."""
    rng = np.random.default_rng(seed)
    chance = [
        0.15 + 0.5 * (r.get("payment") == "card") + 0.01 * min(r["fare"], 25.0) for r in rides
    ]
    return (rng.random(len(rides)) < np.array(chance)).astype(np.float64)
