"""3D human pose from masks alone."""
