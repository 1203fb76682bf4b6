"""The tests, and how annotations are checked in them: by beartype, for which an int is a float as for everybody else."""

from beartype import BeartypeConf, beartype

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
