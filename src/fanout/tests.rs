// Tests of the shards: see the modules for those of their parts.
