"""What `raysafe ui` says of a store, once its pages are there."""

import json
from argparse import Namespace

import pytest

from raysafe.commands.ui import show
from raysafe.commands.voice import Voice
from raysafe.errors import InputError

SERVER = "http://127.0.0.1:5000"


def told(store, sweep, **voice):
    show(store, SERVER, Namespace(sweep=sweep, no_open=True, voice=Voice(**voice)))


def test_the_links_of_sweeps_are_a_document_with_json(mlflow_tracker, store, experiment, capsys):
    told(store, experiment, json=True)
    document = json.loads(capsys.readouterr().out)
    (one,) = document["sweeps"]
    assert document["server"] == SERVER and one["sweep"] == experiment and one["link"].startswith(f"{SERVER}/#/experiments/")


def test_a_person_reads_names_and_links(mlflow_tracker, store, experiment, capsys):
    told(store, experiment)
    name, link = capsys.readouterr().out.splitlines()
    assert name == experiment and link.strip().startswith(SERVER)


def test_a_sweep_that_is_not_on_record_is_refused(mlflow_tracker, store):
    with pytest.raises(InputError, match="no sweep 'nothing' is on record"):
        told(store, "nothing")
