"""The folder that `vqcheck run` puts on a script's path; nothing here is imported by vqcheck itself."""
