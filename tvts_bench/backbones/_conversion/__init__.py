"""What several families do with files: names of tensors, and descriptions beside weights."""
