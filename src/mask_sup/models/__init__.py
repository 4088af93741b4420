"""Networks: the detector phi with its backbones and heads, and the shape prior psi."""
