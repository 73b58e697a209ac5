"""The watermark: a pattern in the pixels that names generator and version, and outlives labels and signatures."""
