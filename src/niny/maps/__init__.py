"""What the class maps say: readings, scores against nulls, attribution, pictures (paper sections 3.2 and 4.7)."""
