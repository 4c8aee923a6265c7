"""What somebody who means harm would try at the API, against the real binary."""
