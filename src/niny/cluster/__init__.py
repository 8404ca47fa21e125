"""A campaign on many machines, by Ray (the extra `cluster`): `niny campaign --ray ADDRESS`. See docs/cluster.md.

`driver` hands out runs and keeps what comes back, `node` is what a machine of the cluster does, `board` is what
`niny status` shows. Ray is imported by `driver` and `node` alone, and scheduling is all Ray's.
"""
