"""The reconciler: table, plan and store; the only writer of Nodes."""
