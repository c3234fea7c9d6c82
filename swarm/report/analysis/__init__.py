"""An analysis of recorded sessions made readable."""
