"""Who is seen: joints, bones, capsules, what is known of their build, and how they are drawn."""
