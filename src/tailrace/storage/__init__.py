"""What is kept on disks: small files that survive a power cut, SQL databases, and what their failures mean."""
