"""When a shift is an alarm: sampling noise, the days of the reference, many features, slow drift.

A window is compared with what windows of the reference itself did. `sampling` holds the laws for
rows that are independent of each other, `statistics` what is measured of a window, `days` how that
varies from window to window, `multiplicity` how one alarm rate is divided among many comparisons,
`calibration` all of it for a model, `sequential` the detector of small shifts that stay, `rolling`
the baseline of a world that moves on, and `ranking` which features' drift moved the score.
"""
