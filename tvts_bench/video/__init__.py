"""From files to clips: decoders, frame sampling, transforms."""
