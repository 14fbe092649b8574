"""What is tried inside Blender: each public function of these modules is a test, its name the claim."""
