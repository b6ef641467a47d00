"""Jobs: a zip of pictures, a video or a CT series, predicted in the background by a child that can be killed."""
