# Found by the name of the program; all is in one file.
source (status dirname)/hs.fish
