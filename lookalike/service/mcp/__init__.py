"""Collections as tools of an assistant, over the Model Context Protocol on stdin and stdout; nothing is written."""
