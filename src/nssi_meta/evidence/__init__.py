"""What studies reported: vocabulary, checks, reading, effect sizes."""
