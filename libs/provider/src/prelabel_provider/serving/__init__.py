"""What inference answers with: the version that the serving pointer names, made ready beside the old one."""
