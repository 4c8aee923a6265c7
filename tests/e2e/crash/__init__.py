"""The crash test: `kill -9` under load, then a judgement over what receivers saw and history says."""
