"""Its presence puts this folder on the import path, so that tests share builders such as `frame_builder`."""
