# SPDX-License-Identifier: GPL-3.0-or-later
"""Billing periods: a month that begins on a day of the operator's choice, in the host's time zone."""

from __future__ import annotations

import calendar
from datetime import date


def period(day: date, billing_day: int) -> tuple[date, date]:
    """Return the first day of the period that ``day`` is in, and that of the next one.

    ``billing_day`` is 1 to 31; a month that is too short for it begins its period on its last day.
    """
    this = _start(day.year, day.month, billing_day)
    if day >= this:
        return this, _start(*_month_after(day.year, day.month), billing_day)
    before = (day.year, day.month - 1) if day.month > 1 else (day.year - 1, 12)
    return _start(*before, billing_day), this


def _month_after(year: int, month: int) -> tuple[int, int]:
    return (year, month + 1) if month < 12 else (year + 1, 1)


def _start(year: int, month: int, billing_day: int) -> date:
    return date(year, month, min(billing_day, calendar.monthrange(year, month)[1]))
