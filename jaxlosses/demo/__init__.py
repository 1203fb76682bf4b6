"""The main job, start to end: one network finds, outlines and reads handwritten digits, under one objective.

Run it with `python -m jaxlosses.demo`. It is made to be read and copied from, in this order: `scenes` makes the data,
`network` the model, `training` has the objective and the training step, `picture` draws what came out. `tune` is how
the weights tuned by hand were found.
"""
