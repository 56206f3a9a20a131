"""The same check inside a live training process: hold the VQ encoder still, and notice when it moves."""
