"""What the kernel has learnt of the machines beside this one: the ARP and ND neighbour table. Sends nothing."""
