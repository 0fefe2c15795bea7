"""The commands: the one place that knows training and serving both."""

from __future__ import annotations

import typer

from recsys.cli import ask, bundles, data, demo, events, learn, receipts, scoring, server, service, status

app = typer.Typer(
    name="recsys",
    help="A ranking service that reads: train on a click log, publish a bundle, serve rankings over gRPC.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.command("import")(data.import_)
app.command("simulate")(data.simulate)
app.command("validate")(data.validate)
app.command("train")(learn.train)
app.command("evaluate")(learn.evaluate)
app.add_typer(bundles.app, name="bundle")
app.add_typer(events.app, name="events")
app.command("serve")(service.serve)
app.command("worker", hidden=True)(service.worker)
app.add_typer(server.app, name="server")
app.command("rank")(ask.rank)
app.command("explain")(ask.explain)
app.command("replay")(receipts.replay)
app.command("audit")(receipts.audit)
app.command("score")(scoring.score)
app.command("pseudonym")(service.pseudonym)
app.command("status")(status.status)
app.command("doctor")(service.doctor)
