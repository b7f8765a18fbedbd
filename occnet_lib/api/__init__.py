"""The public Python functions, which `import occnet_lib as occnet` gives.

Each runs one stage on arrays or files and calls the same code as the command line and the workflow. Every function that
takes a `config` uses the defaults of `config.yaml` without one. Random numbers depend on `config.seed`, the stage
and `name`, which for a file is its name without suffix: the same call gives the same result. Errors that the
input or the environment causes are `OccnetError`s of one line.

Frames are right-handed with +y up. *Source* has the axes, scale and position of the raw file (its up axis turned to
+y). *Unit* has the bounding box centred at 0 with longest edge 1: `x_source = scale * x_unit + loc`.
"""
