resource "aws_efs_backup_policy" "this" {
  count = 0
}

resource "aws_efs_file_system_policy" "this" {
  count = 0
}
