"""Jobs: a zip of pictures or a video, predicted in the background by a child process that can be killed."""
