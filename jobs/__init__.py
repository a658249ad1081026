"""The Spark jobs. spark-submit runs the files at this level; each reads from top to bottom as its data flows:

    ledger ─► sources ─► frames ─► sinks ─► ledger

What jobs share is in the packages: of a kind of job (streaming, archive, totals, audit), of all of them (ledger, proof,
sources, frames, sinks, lake), or of any process (process). docs/architecture.md has the order in which they may import.

spark-submit puts this folder first on the path of modules, so nothing in it may have the name of a library.
"""
