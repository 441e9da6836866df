"""What every room stands on: ids, time, errors, states, texts."""
