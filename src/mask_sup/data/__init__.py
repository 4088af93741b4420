"""Data sets: each turns files into `Moment`s; reading, cropping and weighting are shared."""
