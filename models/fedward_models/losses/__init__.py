"""Losses: functions of tensors that know no network."""
