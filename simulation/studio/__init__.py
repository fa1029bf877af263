"""The studio: a local web page on which somebody rolls a release out by hand.

rollout_setup     what a rollout depends on
rollout_session   a rollout under an operator's hand, without any web
day_record        what is kept of a day      fleet_map   which phone stands where
store             SQLite: setup, log, faults, days
driver            the clock: days while it plays, one change at a time
snapshot          what the page is told      advice      what it says to do next
web, guards       FastAPI, loopback only     page.html, static/
phone_preview     one phone of a finished run; phone_* beside it
"""
